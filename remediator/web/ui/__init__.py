"""The HTML pages, their forms, and the filters of their templates."""
