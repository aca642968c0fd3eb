"""A CDS client: its key, and the tokens that it signs."""

import json
import time
import uuid

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

ISSUER = "https://ehr.example"
KEY = ec.generate_private_key(ec.SECP384R1())
JWK = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key())) | {"kid": "k1"}
VIEW = "/cds-services/marrow-patient-view"


def client_settings(user="lis"):
    return {ISSUER: {"user": user, "keys": [JWK], "algorithms": ["ES384"]}}


def token(url, *, key=KEY, algorithm="ES384", headers=None, base="http://testserver", **claims):
    now = int(time.time())
    said = {"iss": ISSUER, "aud": f"{base}{url}", "iat": now, "exp": now + 300, "jti": str(uuid.uuid4())}
    return jwt.encode(said | claims, key, algorithm=algorithm, headers={"kid": "k1"} | (headers or {}))


def call(patient_id, hook="patient-view", **said):
    context = {"userId": "Practitioner/1", "patientId": str(patient_id)}
    return {"hook": hook, "hookInstance": str(uuid.uuid4()), "context": context, **said}
