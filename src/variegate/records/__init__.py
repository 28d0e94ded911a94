"""One schema per kind of record. Who writes a record and who reads it import the same class. Imports no torch."""
