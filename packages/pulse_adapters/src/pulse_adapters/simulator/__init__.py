"""A broker and its exchange as a process of their own: durable, reached over HTTP, with a real broker's wire.

`venue` is the broker and the exchange as a pure state machine over journal entries; `desk` gives it time,
prices and durability; a face such as `kite` puts a vendor's wire on the desk.
"""
