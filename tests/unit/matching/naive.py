"""The engine's rules in the plainest way: every look goes over every order. For comparison only."""

from decimal import Decimal
from itertools import pairwise

from msgspec.structs import replace

from pulse_domain.matching import BasisPoints, FixedTicks, ImpactShape, VolumeImpact
from pulse_domain.orders.model import Side, Validity


class Row:
    def __init__(self, order, seq, due):
        self.order, self.seq, self.due = order, seq, due
        self.filled, self.fired = 0, not order.order_type.has_trigger
        self.sign = 1 if order.side is Side.BUY else -1
        self.ioc = order.validity is Validity.IOC


class NaiveEngine:
    """Results are tuples: a kind, the order id, and for fills the quantity and price."""

    def __init__(self, settings, rng):
        self.s, self.rng, self.rows, self.seq, self.counts, self.out = settings, rng, [], 0, {}, []
        self.volumes, self.closes = {}, {}

    def submit(self, order, quote=None, at=None):
        self.out, due = [("Accepted", order.order_id)], at
        if self.s.latency:
            low, high = self.s.latency.shortest, self.s.latency.longest
            due = (at or quote.at) + low + ((high - low) * self.rng.random() if high > low else high - low)
        row = Row(order, self.next_seq(), None)
        self.rows.append(row)
        candle = self.closes.get(order.instrument)
        if quote is not None and not self.s.latency:
            self.enter(row, *self.look(quote))
        elif candle and (due is None or (candle.end and candle.start <= due <= candle.end)):
            self.enter(row, candle.close, None, None, candle)
        else:
            row.due = due
        return self.out

    def modify(self, order_id, **changes):
        row = next((row for row in self.rows if row.order.order_id == order_id), None)
        self.out = [("Modified" if row else "Rejected", order_id)]
        if row:
            grows = changes.get("quantity", 0) > row.order.quantity
            moves = any(
                getattr(row.order, name) != value for name, value in changes.items() if name != "quantity"
            )
            if row.due is None and (grows or moves):
                row.seq = self.next_seq()
            row.order = replace(row.order, **changes)
            candle = self.closes.get(row.order.instrument)
            if candle and row.due is None:
                self.enter(row, candle.close, None, None, candle)
        return self.out

    def cancel(self, order_id):
        known = [row for row in self.rows if row.order.order_id == order_id]
        self.rows = [row for row in self.rows if row not in known]
        return [("Cancelled" if known else "Rejected", order_id)]

    def process_tick(self, tick):
        self.out, look = [], self.look(tick)
        self.closes.pop(tick.instrument, None)
        self.let_in(tick.instrument, tick.at)
        self.arrivals(tick.instrument, look)
        for sign, quote in ((1, tick.ask), (-1, tick.bid)):
            for row in self.limits(tick.instrument, sign):
                through = sign * (row.order.limit_price - tick.price)
                met = quote is not None and sign * (row.order.limit_price - quote) >= 0
                if met or through > 0 or (through == 0 and self.s.fill_on_touch):
                    self.fill(row, *look)
        for sign in (1, -1):
            self.stops(tick.instrument, sign, tick.price, look)
        return self.out

    def process_candle(self, candle):
        self.out, name = [], candle.instrument
        self.closes.pop(name, None)
        self.volumes[name, "candle"] = volume = self.volume(candle.volume, name)
        if volume == [0, 0]:
            return self.out
        opening = (candle.open, None, None, candle)
        self.let_in(name, candle.start)
        self.arrivals(name, opening)
        for sign in (1, -1):
            self.stops(name, sign, candle.open, opening)
        unknown = self.s.candle_path == "unknown"
        for sign, end in ((1, candle.low), (-1, candle.high)):
            for row in self.limits(name, sign):
                if self.through(row, end if unknown else candle.open):
                    self.fill(row, *opening)
        if unknown:
            for sign, end in ((1, candle.high), (-1, candle.low)):
                self.stops(name, sign, end, None, candle)
        else:
            self.walk(candle)
        if self.s.candle_entry == "same_close":
            self.closes[name] = candle
            if candle.end:
                for row in self.let_in(name, candle.end):
                    self.enter(row, candle.close, None, None, candle)
        return self.out

    def walk(self, c):
        low_first = self.s.candle_path == "nearest_extreme_first" and c.open - c.low < c.high - c.open
        way = [c.open, c.low, c.high, c.close] if low_first else [c.open, c.high, c.low, c.close]
        for start, end in pairwise(way):
            sign = 1 if end > start else -1
            while True:
                left = self.volumes[c.instrument, "candle"][1] != 0
                events = [
                    (sign * row.order.trigger_price, 0, row.seq, row)
                    for row in self.resting(c.instrument)
                    if not row.fired and row.sign == sign and sign * (end - row.order.trigger_price) >= 0
                ] + [
                    (sign * row.order.limit_price, 1, row.seq, row)
                    for row in self.limits(c.instrument, -sign)
                    if left and self.through(row, end)
                ]
                if not events:
                    break
                level, kind, _, row = min(events, key=lambda event: event[:3])
                (self.fill if kind else self.fire)(row, sign * level, None, None, c)

    def through(self, row, price):
        beyond = row.sign * (row.order.limit_price - price)
        return beyond > 0 or (beyond == 0 and self.s.fill_on_touch)

    def resting(self, name):
        return [row for row in self.rows if row.order.instrument == name and row.due is None]

    def limits(self, name, sign):
        rows = [
            r for r in self.resting(name) if r.fired and r.sign == sign and r.order.limit_price and not r.ioc
        ]
        return sorted(rows, key=lambda row: (-sign * row.order.limit_price, row.seq))

    def arrivals(self, name, look):
        rows = [row for row in self.resting(name) if row.fired and (row.ioc or not row.order.limit_price)]
        for row in sorted(rows, key=lambda row: row.seq):
            self.enter(row, *look)

    def stops(self, name, sign, reach, look, candle=None):
        rows = [row for row in self.resting(name) if not row.fired and row.sign == sign]
        for row in sorted(rows, key=lambda row: (sign * row.order.trigger_price, row.seq)):
            if sign * (reach - row.order.trigger_price) >= 0:
                self.fire(row, *(look or (row.order.trigger_price, None, None, candle)))

    def let_in(self, name, by):
        rows = [r for r in self.rows if r.order.instrument == name and r.due is not None and r.due <= by]
        rows.sort(key=lambda row: (row.due, row.seq))
        for row in rows:
            row.due, row.seq = None, self.next_seq()
        return rows

    def enter(self, row, price, bid, ask, candle):
        quote = ask if row.sign == 1 else bid
        if not row.fired:
            if row.sign * (price - row.order.trigger_price) >= 0:
                self.fire(row, price, bid, ask, candle)
            return
        limit, offered = row.order.limit_price, price if quote is None else quote
        free = limit == offered and (quote is not None or self.s.fill_on_touch)
        if limit is None or row.sign * (limit - offered) > 0 or free:
            self.fill(row, price, bid, ask, candle)
        elif row.ioc:
            self.end(row)

    def fire(self, row, price, bid, ask, candle):
        row.fired = True
        self.out.append(("Triggered", row.order.order_id, price))
        self.enter(row, price, bid, ask, candle)

    def fill(self, row, price, bid, ask, candle):
        volume = self.volumes.get((row.order.instrument, "candle" if candle else "tick"), [0, None])
        wanted = row.order.quantity - row.filled
        quantity = wanted if volume[1] is None else min(wanted, volume[1])
        if quantity:
            volume[1] = volume[1] if volume[1] is None else volume[1] - quantity
            paid = self.price(row, quantity, price, ask if row.sign == 1 else bid, candle, volume[0])
            self.out.append(("Filled", row.order.order_id, quantity, paid))
            row.filled += quantity
        if row.filled == row.order.quantity:
            self.rows.remove(row)
        elif row.ioc:
            self.end(row)

    def end(self, row):
        self.rows.remove(row)
        self.out.append(("Cancelled", row.order.order_id))

    def price(self, row, quantity, price, quote, candle, traded):
        sign, limit = row.sign, row.order.limit_price
        grid = self.s.tick_sizes.get(row.order.instrument, self.s.tick_size)
        price = base = price if quote is None else quote
        if limit is not None:
            price = base = sign * min(sign * base, sign * limit)
        match self.s.slippage:
            case FixedTicks(ticks=ticks) if quote is None:
                price += sign * ticks * grid
            case BasisPoints(points=points) if quote is None:
                price += sign * base * points / 10000
            case VolumeImpact(coefficient=coefficient, shape=shape):
                share = Decimal(quantity) / traded if traded else Decimal(1)
                price += (
                    sign * base * coefficient * (share.sqrt() if shape is ImpactShape.SQUARE_ROOT else share)
                )
        if price == base:
            return base
        steps = price / grid
        price = max(
            steps.to_integral_value("ROUND_CEILING" if sign == 1 else "ROUND_FLOOR") * grid, min(grid, base)
        )
        if candle and not self.s.slip_beyond_candle:
            price = min(max(price, candle.low), candle.high)
        return price if limit is None else sign * min(sign * price, sign * limit)

    def look(self, tick):
        count = self.counts.get(tick.instrument)
        if count is None or tick.volume != count:
            traded = 0 if count is None else tick.volume - count if tick.volume > count else tick.volume
            self.volumes[tick.instrument, "tick"] = self.volume(traded, tick.instrument)
        self.counts[tick.instrument] = tick.volume
        return tick.price, tick.bid, tick.ask, None

    def volume(self, traded, name):
        """The traded volume, and what is left of it to fill; None is any quantity."""
        without, share = self.s.fill_without_volume, self.s.participation
        if traded == 0:
            return [0, None if without or (without is None and share is None) else 0]
        lot_size = self.s.lot_sizes.get(name, 1)
        return [traded, None if share is None else int(share * traded) // lot_size * lot_size]

    def next_seq(self):
        self.seq += 1
        return self.seq
