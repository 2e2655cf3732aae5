"""The service that a shop would write in Python: FastAPI, ONNX Runtime, OpenCV, scikit-learn, hnswlib."""
