"""How gunicorn serves, in every run mode. Access lines carry no query string: a search holds a patient's name."""

workers = 2
preload_app = True  # imported once, then forked
threads = 4
accesslog = "-"
access_log_format = '%(h)s %(t)s "%(m)s %(U)s" %(s)s %(b)s %(L)ss'
