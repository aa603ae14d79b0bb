"""The contract over HTTP: routes, requests, answers, streams and the OpenAPI document, all read from its annotations."""
