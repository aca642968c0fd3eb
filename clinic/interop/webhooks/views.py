"""A site's webhooks, what is on its way to them, and the dead letters."""

from django.db import transaction
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from clinic.accounts.access import sites_where
from clinic.api.base import ReadList, ReadOne, checked
from clinic.audit.models import Action
from clinic.cases.visibility import find
from clinic.errors import InvalidInput
from clinic.interop.webhooks.models import Delivery, DeliveryStatus, EventType, Webhook
from clinic.interop.webhooks.services import (
    ACT,
    create_webhook,
    deliveries_visible_to,
    replay,
    switch_webhook,
    webhooks_visible_to,
)


class WebhookOut(serializers.ModelSerializer):
    class Meta:
        model = Webhook
        fields = ["id", "site", "url", "events", "active", "created_at"]


class NewWebhookOut(WebhookOut):
    secret = serializers.CharField(help_text="What its messages are signed with. It is shown only now.")

    class Meta(WebhookOut.Meta):
        fields = [*WebhookOut.Meta.fields, "secret"]


class WebhookIn(serializers.Serializer):
    site = serializers.UUIDField()
    url = serializers.CharField(max_length=500)
    events = serializers.ListField(child=serializers.ChoiceField(EventType.choices), min_length=1)


class WebhookChange(serializers.Serializer):
    active = serializers.BooleanField()


class DeliveryOut(serializers.ModelSerializer):
    type = serializers.CharField(source="event.type")
    data = serializers.JSONField(source="event.body")

    class Meta:
        model = Delivery
        fields = ["id", "webhook", "event", "type", "data", "status", "attempts", "due_at", "created_at"]
        fields += ["last_attempt_at", "last_answer"]


class Webhooks(ReadList):
    serializer_class = WebhookOut
    queryset = Webhook.objects.none()
    recorded_as = Action.WEBHOOK_READ
    act = ACT

    def rows(self):
        return webhooks_visible_to(self.request.user)

    @extend_schema(request=WebhookIn, responses={201: NewWebhookOut})
    def post(self, request):
        """Have an address told of events. It must be public and https, or allowed by the operator."""
        said = checked(WebhookIn, request)
        site = find(lambda user: sites_where(user, ACT), said.pop("site"), by=request.user)
        webhook, secret = create_webhook(site=site, by=request.user, **said)
        webhook.secret = secret
        return Response(NewWebhookOut(webhook).data, status=201)


class OneWebhook(ReadOne):
    visible_to = staticmethod(webhooks_visible_to)
    recorded_as = Action.WEBHOOK_READ
    serializer_class = WebhookOut

    @extend_schema(request=WebhookChange, responses=WebhookOut)
    @transaction.atomic
    def patch(self, request, pk):
        """Switch it off, or on again."""
        webhook = find(webhooks_visible_to, pk, by=request.user)
        switch_webhook(webhook=webhook, by=request.user, **checked(WebhookChange, request))
        return Response(WebhookOut(webhook).data)


class Deliveries(ReadList):
    serializer_class = DeliveryOut
    queryset = Delivery.objects.none()
    recorded_as = Action.WEBHOOK_READ
    act = ACT

    def rows(self):
        status = self.request.query_params.get("status", DeliveryStatus.DEAD)
        if status not in DeliveryStatus.values:
            problem, remedy = f"There is no status {status[:40]!r}.", f"Use {', '.join(DeliveryStatus.values)}."
            raise InvalidInput("unknown_status", problem, remedy, place="status")
        return deliveries_visible_to(self.request.user).filter(status=status)

    @extend_schema(parameters=[OpenApiParameter("status", str, enum=DeliveryStatus.values, default="dead")])
    def get(self, request, *args, **kwargs):
        """The dead letters; or what waits, or was delivered."""
        return super().get(request, *args, **kwargs)


class ReplayDelivery(APIView):
    @extend_schema(request=None, responses=DeliveryOut)
    def post(self, request, pk):
        """Send a dead letter again, under its own event id."""
        delivery = find(deliveries_visible_to, pk, by=request.user)
        replay(delivery=delivery, by=request.user)
        return Response(DeliveryOut(delivery).data)
