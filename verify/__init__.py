"""`make verify`: tests a deployment as its clients use it, and deletes what it creates.

command.py          the command, from arguments to exit code
target.py           the deployment and the token: arguments and environment
steps.py            what a step is, how steps run, and the values that they write
http_api.py         a client of MLflow's REST API
http_steps.py       the steps over HTTP
client_steps.py     the steps with the MLflow Python client
created_objects.py  the objects created on the server, and their deletion
errors.py           exceptions, and descriptions of connection errors
report.py           the table
form.py             the form of a first deployment, as a file
"""
