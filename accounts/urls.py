from django.urls import path

from accounts import views

urlpatterns = [
    path("signin", views.signin, name="signin"),
    path("signin/failed", views.signin_failed, name="signin-failed"),
    path("signout", views.SignOut.as_view(), name="signout"),
    path("oidc/start", views.Authenticate.as_view(), name="oidc_authentication_init"),
    path("oidc/callback", views.Callback.as_view(), name="oidc_authentication_callback"),
    path("recover", views.recover_page, name="recover"),
]
