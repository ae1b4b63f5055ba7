"""A run as one HTML page that a person reads top to bottom.

    records -> overview, detail (numbers, in the types of forms)
            -> findings, summary, words (sentences) -> page (one file)

The numbers are prepared here; the figures are drawn from them in the page, each by a small function of
`assets/overview.js` or `assets/detail.js`, so that a slider redraws and loads nothing.
"""
