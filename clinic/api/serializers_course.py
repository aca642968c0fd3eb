from rest_framework import serializers


class BlastsOut(serializers.Serializer):
    of = serializers.CharField(help_text="The modality whose cells were counted")
    blasts = serializers.IntegerField()
    counted = serializers.IntegerField()
    share = serializers.FloatField()
    low = serializers.FloatField()
    high = serializers.FloatField()


class PointOut(serializers.Serializer):
    at = serializers.DateTimeField()
    case = serializers.UUIDField()
    stage = serializers.CharField()
    analysis = serializers.UUIDField()
    answer = serializers.CharField(allow_blank=True)
    probability = serializers.FloatField(allow_null=True)
    probabilities = serializers.DictField(child=serializers.FloatField(allow_null=True))
    set = serializers.ListField(child=serializers.CharField())
    blasts = BlastsOut(allow_null=True)


class ChangeOut(serializers.Serializer):
    what = serializers.ChoiceField(["blasts", "answer"])
    direction = serializers.ChoiceField(["up", "down", "other"])
    since = serializers.DateTimeField()
    at = serializers.DateTimeField()
    analysis = serializers.UUIDField()
    by = serializers.DictField(help_text="Of blasts the difference with its 95 % interval; of an answer from and to")


class HintOut(serializers.Serializer):
    of = serializers.CharField(help_text="The modality whose cells were counted")
    says = serializers.ChoiceField(["response", "possible relapse", "no response"], allow_null=True)
    why = serializers.CharField()
    validation = serializers.DictField(help_text="How the rules did on simulated courses; on no patient")


class CourseOut(serializers.Serializer):
    points = PointOut(many=True)
    changes = ChangeOut(many=True)
    hints = HintOut(many=True, help_text="From three counts on; rules, validated on simulated courses only")
