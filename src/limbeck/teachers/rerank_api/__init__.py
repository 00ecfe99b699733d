"""Re-ranking servers as teachers: request formats, HTTP client and teacher."""
