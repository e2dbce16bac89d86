"""Load from several machines: the hosts of a Dask cluster, each of which is a site of a run."""
