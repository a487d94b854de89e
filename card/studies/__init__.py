"""What is asked of the model: study files, sweeps, comparisons, claims, sensitivity, speed."""
