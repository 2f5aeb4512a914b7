"""Jobs as clients write and read them: fields, merge patches, ids, exact numbers, size limits."""
