"""Reports: one HTML page of images, dies, recoveries and tables, and parts of it for notebooks."""
