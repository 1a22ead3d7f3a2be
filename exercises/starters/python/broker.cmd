python3 broker.py --port {port}
