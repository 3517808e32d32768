"""A run as other tools show it: TensorBoard, MLflow. Nothing is trained or decided here, and nothing is sent away."""
