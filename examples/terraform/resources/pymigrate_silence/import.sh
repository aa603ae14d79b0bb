# By its resource name.
terraform import pymigrate_silence.rehearsals environments/prod/silences/rehearsals
