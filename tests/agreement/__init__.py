"""What Assay says of a program's settings, held against what the program says itself."""
