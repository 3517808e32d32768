"""The bundled scene, and a publisher without models. Nothing is exported here."""
