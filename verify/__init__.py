"""`make verify`: try a deployment from outside, as its users will, and leave nothing behind.

command.py      the whole, from arguments to exit code
target.py       which deployment, with which token
failures.py     what can go wrong, in words
http_api.py     one request over plain HTTP
http_steps.py   the steps over plain HTTP
client_steps.py the same steps with the MLflow client
made.py         what was made on the server, and its removal
report.py       the table
"""
