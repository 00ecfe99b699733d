"""What reads finished runs and draws or prints them: tables, figures, the HTML page, the terminal."""
