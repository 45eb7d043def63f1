"""The page about a run: figures, charts and orders as one HTML document that fetches nothing.

`document` puts it together. Nothing here reads or writes files, and the same run gives the same page.
"""
