"""Real processes under a seeded nemesis, and the promise checked on what they leave behind."""
