"""The application: what each verb does, callable from Python with a composed configuration."""
