"""The only room in which the toolkit is imported and touched."""
