"""Any videos to the form in which the field reads its data: MPEG-4 Part 2, short GOPs, no B-frames."""
