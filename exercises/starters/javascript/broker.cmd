node broker.js --port {port}
