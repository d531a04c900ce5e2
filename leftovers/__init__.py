"""`make leftovers`: finds what a destroyed or half-made stack left in the account, read-only.

model.py     what a search is: it finds resources by tags, labels and names, without those that the stack's state holds
owner.py     the components of a stack, with the tags and names of their resources at the provider; the state
aws/         the searches on AWS
gcp.py       the searches on Google Cloud
searches.py  their list, in an order in which the removals succeed

Clients, time limits, results and reports are those of preflight/.
"""
