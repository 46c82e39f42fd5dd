"""How a reference's tissue looks at its own scale and at wrong ones, and a slide's scale weighed against that.

``reference`` calls it when a bundle is built or grown, ``prediction`` when a slide is opened.
"""
