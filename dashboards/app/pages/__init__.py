"""The pages: each has a function ``page(context, rest)`` that gives its content for an address."""
