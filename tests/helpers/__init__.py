"""What tests share: factories, tiny data sets, oracles."""
