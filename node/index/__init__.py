"""Who has positions: the index of each venue brought to the pinned block, proved complete, and whom of it to assess."""
