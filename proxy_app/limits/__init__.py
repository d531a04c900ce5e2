"""Fair use: limits of requests and memory that principals share, and short queues above them.

``fair_pool.py`` and ``token_bucket.py`` know nothing of requests; ``admission.py`` applies them to those of the proxy.
"""
