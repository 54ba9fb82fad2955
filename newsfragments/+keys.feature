New keys are on all connected workers a second or so after the registration, also while agents enroll without pause.
