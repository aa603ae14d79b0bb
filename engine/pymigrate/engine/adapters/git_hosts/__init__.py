"""The APIs of those who host repositories, as far as they are told how it stands with commits and pull requests."""
