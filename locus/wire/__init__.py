"""Wire formats: each package builds the requests and parses the responses of one JSON API."""
