# One image for every process: gateway, order API, workers, migrations and the all-in-one. What runs is chosen by
# the command; what it is told comes from the environment. No secret is in it.

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/pulse
# The lock alone, so that this layer stays while only our code changes.
COPY requirements.txt .
RUN /opt/pulse/bin/pip install --require-hashes -r requirements.txt
COPY packages packages
COPY apps apps
RUN /opt/pulse/bin/pip install --no-deps --no-build-isolation \
      ./packages/pulse_domain ./packages/service_kit ./packages/pulse_adapters \
      ./apps/gapi ./apps/pulse_api ./apps/pulse_background ./apps/pulse \
 && /opt/pulse/bin/pip check

FROM python:3.11-slim
# Postgres, which the all-in-one starts, refuses to run as root.
RUN useradd --system --uid 10001 --home-dir /var/lib/pulse --create-home pulse
COPY --from=build /opt/pulse /opt/pulse
ENV PATH=/opt/pulse/bin:$PATH PYTHONUNBUFFERED=1 PULSE_STATE_DIR=/var/lib/pulse/state
USER pulse
WORKDIR /var/lib/pulse
EXPOSE 8000
STOPSIGNAL SIGTERM
CMD ["pulse", "up", "--host", "0.0.0.0"]
