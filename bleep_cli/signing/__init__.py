"""Who vouches for a reference: its content hash signed, and a signature checked, by OpenSSH's own program.

Called by ``bundle``, whose door takes a public key, and by ``bleep reference sign``. Private keys are read by
``ssh-keygen`` alone, never by this process. The format is that of ``ssh-keygen -Y sign``, so that people sign and
check by the keys and the program that they have (docs/trust.md).
"""
