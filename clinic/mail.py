"""One mail to one address; what cannot be sent is said in the log, without the address."""

import logging
from smtplib import SMTPException

from django.core.mail import BadHeaderError, EmailMessage

logger = logging.getLogger(__name__)


def sent(subject, text, to, headers=None):
    """Whether it is done with: the server took it, or none ever will. Otherwise it may be tried again."""
    try:
        return bool(EmailMessage(subject, text, to=[to], headers=headers).send())
    except BadHeaderError:  # an address with a line end in it
        logger.warning("a mail has no address that can be written to")
        return True
    except (OSError, SMTPException) as error:
        logger.warning("a mail could not be sent: %s", type(error).__name__)
        return False
