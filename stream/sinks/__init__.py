"""Where results go: windows, video files, pictures and records."""
