"""Public files of teacher scores, each as blocks of pairs."""
