"""A broker and exchange in process: orders are matched against a price feed, nothing leaves the machine."""
