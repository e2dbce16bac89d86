"""Pages: what people look at: a report, a comparison, and their pictures. The top floor of `analysis`."""
