"""One real broker, one small file: what the four core commands mean to it, said through its own client.

The workload (workload.py) asks in the four core commands, whoever the broker is. For a real one a translator
stands in the place of the line client, in the same process. Each file opens with its table: what SUBMIT,
REQUEST, ACK and FAIL become. They run as `python -m dsjq_lab.clients.NAME ROLE NUMBER CONFIG`.
"""
