"""The pure core: graph, plan, run and schedule; standard library and networkx only."""
