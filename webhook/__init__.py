"""The admission webhook: AdmissionReview in, decision, AdmissionReview out."""
