"""WADO-RS: files as they came, frames as they are stored, pictures as our own reader wrote them; by the one exit."""

from django.db import transaction
from django.http import StreamingHttpResponse
from rest_framework.response import Response

from clinic.audit.models import Action
from clinic.audit.services import record
from clinic.cases import downloads
from clinic.cases.models import ItemStatus
from clinic.errors import InvalidInput, NotFound
from clinic.interop.dicomweb import accepting, parts
from clinic.interop.dicomweb.base import DicomView, JsonView
from clinic.interop.dicomweb.frames import Frames, numbers_in, read_as

USUAL_QUALITY = 90
MOST_SIDE = 20_000


class OneStudy(DicomView):
    """A study, a series or an instance: the files as they came."""

    def get(self, request, **uids):
        as_parts = accepting.form_of_files(request)
        with transaction.atomic():
            found = self.instances(uids)
            details = [{"sop": one.sop_uid} for one in found]
            files = downloads.originals([one.item for one in found], by=request.user, details=details)
        if not as_parts and len(files) == 1 and "instance" in uids:
            content_type, blocks = "application/dicom", files[0]()
        else:
            content_type, blocks = parts.sent(files)
        return downloads.protected(StreamingHttpResponse(blocks, content_type=content_type))


class Metadata(JsonView):
    @transaction.atomic
    def get(self, request, **uids):
        """The attributes that Marrow keeps of each instance."""
        found = self.instances(uids)
        for one in found:
            record(Action.ITEM_READ, by=request.user, obj=one.item, detail={"sop": one.sop_uid})
        return Response([one.header for one in found])


class PixelView(DicomView):
    def judged(self, uids):
        """The instance, once the capped reader has taken its pixels: nothing else is taken apart here."""
        (one, *_) = self.instances(uids)
        if one.item.status != ItemStatus.VALID:
            problem = "The pixels of this instance have not been read, or were refused."
            raise NotFound("not_read", problem, "Try again later, or fetch the whole instance.")
        return one


class StoredFrames(PixelView):
    def get(self, request, frames, **uids):
        numbers = numbers_in(frames)
        with transaction.atomic():
            one = self.judged(uids)
            said = {"sop": one.sop_uid, "frames": numbers}
            found = Frames(downloads.original(one.item, by=request.user, detail=said))
            found.check(numbers)
            media_type = accepting.form_of_frames(request, found.syntax)
        cuts = [lambda number=number: found.blocks(number) for number in numbers]
        content_type, blocks = parts.sent(cuts, media_type)
        return downloads.protected(StreamingHttpResponse(blocks, content_type=content_type))


class Rendered(PixelView):
    """A frame as the picture that the models saw; of an instance, its first."""

    def get(self, request, frames=None, **uids):
        media_type = accepting.first_of(request, ("image/jpeg", "image/png"))
        viewport, quality = _viewport(request.query_params), _quality(request.query_params)
        one = self.judged(uids)
        numbers = numbers_in(frames) if frames else [None]
        if len(numbers) > 1:
            raise InvalidInput("too_many", "One picture shows one frame.", "Ask for one.", place="frames")
        place = 0 if frames is None else read_as(one.item.summary, numbers[0])
        if media_type == "image/png" and not viewport:
            return downloads.item_frame(one.item_id, place, by=request.user)
        said = {"media_type": media_type, "quality": quality, "viewport": viewport}
        return downloads.item_frame_as(one.item_id, place, by=request.user, **said)


def _viewport(params):
    """(width, height) of ``viewport=w,h``; None without. Cutting a region out is not done here."""
    if "viewport" not in params:
        return None
    said = params["viewport"].split(",")
    if len(said) != 2 or not all(one.isascii() and one.isdigit() and 0 < int(one[:9]) <= MOST_SIDE for one in said):
        raise InvalidInput("bad_viewport", "It is no width and height.", "Write viewport=512,512.", place="viewport")
    return tuple(int(one) for one in said)


def _quality(params):
    text = params.get("quality", str(USUAL_QUALITY))
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= 100):
        raise InvalidInput("bad_quality", "It is no whole number of 1 to 100.", "For example 90.", place="quality")
    return int(text)
