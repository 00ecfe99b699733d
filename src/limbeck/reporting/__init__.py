"""Reports on finished runs: tables, figures, the HTML page, the terminal."""
