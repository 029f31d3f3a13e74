"""JupyterLab in a headless Chromium, for tests that click, type and look.

`chromium` gives a browser page, `server` a Jupyter server, `notebook` a notebook that is open in
both. Everything is waited for by a condition, and a wait that ends in vain says where it left a
picture of the page.
"""
