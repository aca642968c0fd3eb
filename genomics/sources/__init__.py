"""Public sources of expression data: NCI's GDC and NCBI's GEO, fetched so that it can be interrupted and checked."""
